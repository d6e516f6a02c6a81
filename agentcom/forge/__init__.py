"""Where work is reviewed: one pull request per task, on GitHub, in a bare repository, or nowhere."""
