"""Raw labels -> columns: line schemas, box rules, duplicates, the ledger."""
