"""Every chart, as a description for plotly: plain values, drawn where the page is shown."""
