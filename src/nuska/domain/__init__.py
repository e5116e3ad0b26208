"""The vocabulary and its rules: records, time, limits, errors. No I/O and no clock."""
