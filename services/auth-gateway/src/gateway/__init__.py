"""The only door: says who a caller is, whether it may come in, and where its request goes."""
