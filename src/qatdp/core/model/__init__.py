"""What is known of a node: functions, IOMMU groups, families. Values without decisions."""
