"""The views, a file for each stage of the flow."""
