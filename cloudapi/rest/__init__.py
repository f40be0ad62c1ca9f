"""What all REST routes share: fields, filters, `include`, tags, errors, pages of lists, rate limits, the schema."""
