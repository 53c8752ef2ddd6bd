"""What labels become: tables in columns, records, the ledger, the manifest, statistics."""
