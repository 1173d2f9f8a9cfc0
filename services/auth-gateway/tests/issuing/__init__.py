"""The issuer: logins, keys, and the applications that may log in."""
