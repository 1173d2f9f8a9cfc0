"""Output sets: what runs made, published in an order that pollers can rely on, and links to download it."""
