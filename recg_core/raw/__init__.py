"""Reading raw records: any supported file, in bounded memory, with a reason for every bad line."""
