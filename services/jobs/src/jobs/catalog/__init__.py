"""What there is: partners, years, ODS connections, bundles."""
