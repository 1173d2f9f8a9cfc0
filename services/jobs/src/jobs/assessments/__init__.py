"""Jobs that turn assessment files into Ed-Fi records."""
