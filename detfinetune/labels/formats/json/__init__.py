"""JSON formats: COCO, LabelMe, Label Studio, VIA."""
