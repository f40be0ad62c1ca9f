"""What may be said between a dock and the cloud: bytes in, frozen typed objects out, no I/O."""
