"""Training programs and their launcher; child processes that know torch and nothing of Kedro."""
