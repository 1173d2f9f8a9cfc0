"""Who manages what: applications, access rules, revocations."""
