"""Whether this sender may do this: keys, origins, consent, cookies, addresses and rates."""
