"""XML formats: Pascal VOC, CVAT."""
