"""Child processes: started, relayed, ended, tracked, and never done twice."""
