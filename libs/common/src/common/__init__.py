"""What two or more services need, and no word of the domain."""
