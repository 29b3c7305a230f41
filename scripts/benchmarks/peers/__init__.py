"""The peers: each in an environment of its own, `.fleet/peers/NAME`, made on first use."""
