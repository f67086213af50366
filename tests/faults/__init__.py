"""What users, kills and machines do wrong, many times over: each ends right or with a message."""
