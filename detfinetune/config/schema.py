"""The typed configuration: every key there is, its unit, its range and what `null` means.

`null` is "choose for me": `engine.recipe` fills it from the data and the hardware and prints what
it chose and why. What the user names is never replaced. Unknown keys are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

DEFAULT_COLUMNS = "class,x1,y1,x2,y2"
"""Columns of txt labels unless `data.columns` says otherwise."""


def _not_empty(path: object) -> object:
    # An unset shell variable would else mean the current folder.
    if path == "":
        raise ValueError("should not be empty; give a path or null")
    return path


UserPath = Annotated[
    Path, BeforeValidator(_not_empty), AfterValidator(lambda path: path.expanduser())
]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]

Task = Literal["bbox", "segm"]
SplitName = Literal["train", "val", "test"]
LabelFormat = Literal[
    "auto", "txt", "yolo", "dota", "coco", "voc", "labelme", "cvat", "openimages", "label_studio",
    "via", "csv",
]  # fmt: skip
Policy = Literal["fix", "reject", "stop"]


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )


class DataConfig(Section):
    """Where images and labels are and how the labels are to be read."""

    name: str = "custom"
    """Short name of the data set, used in messages and default output folders."""

    root: UserPath | None = None
    """Folder of the data set; every other path here is relative to it."""

    source: str = ""
    """Where the data set can be had, shown when `root` is missing."""

    sample_scenes: bool = False
    """Make the sample scenes, and use them, when `root` is null."""

    format: LabelFormat = "auto"
    """Label format: txt (columns as in `columns`), yolo (boxes or polygons), coco (JSON)."""

    images: str | None = None
    """Folder of images; `{split}` stands for the split's folder name. null: found by itself."""

    labels: str | None = None
    """Folder of label files; `{split}` as above. null: found by itself."""

    annotations: str | None = None
    """COCO JSON file; `{split}` as above. null: found by itself."""

    image_list: str | None = None
    """Text file with one image a line (with or without ending) that says what belongs to a
    split; `{split}` as above. Images that are not listed are left out, not negatives."""

    splits: dict[SplitName, str] | None = None
    """Names that the splits have on disk, such as `{train: train, val: valid}`. null: found."""

    classes: list[str] | UserPath | None = None
    """Class names in the order of their ids, or a file that holds them (classes.txt, obj.names,
    data.yaml). null: found by itself beside the labels."""

    columns: str = DEFAULT_COLUMNS
    """Columns of a txt line in order: class, x1, y1, x2, y2; or x, y (top left), cx, cy (centre),
    w, h; `-` for a column to pass over. Separators and brackets are found by themselves."""

    coordinates: Literal["auto", "pixels", "fractions"] = "auto"
    """Unit of txt coordinates; auto takes fractions when most lines hold no value above 1."""

    first_class: Literal[0, 1] | None = None
    """The number that the first class has in the labels. null: 0, or 1 where all numbers say so
    (none is 0 and the highest equals the number of classes)."""

    first_pixel: Literal[0, 1] = 0
    """The coordinate of the first pixel in txt labels: 1 for data counted from 1."""

    image_sizes: UserPath | None = None
    """JSON (COCO) or CSV (file_name,width,height) with image sizes, for labels without images."""

    on_problem: Policy = "fix"
    """What happens to a label that is wrong: fix what is mendable and reject the rest, reject
    each, or stop at the first."""

    val_fraction: Fraction = 0.15
    """Share of images held out for validation where the data has no such split."""

    test_fraction: Fraction = 0.15
    """Share of images held out for testing where the data has only one folder."""

    split_seed: int = 0
    """Seed of that split."""

    stratify: bool = True
    """Whether that split balances the objects of each class, and not the number of images only."""

    split_groups: str | None = None
    """What must not be torn apart by that split, such as the frames of one video: a regular
    expression for the image's path, whose first group names it (`^(.+)_\\d+\\.jpg$`), or a CSV
    file with file_name,group."""

    folds: Annotated[int, Field(ge=2)] | None = None
    """Number of parts for cross-validation: `fold` becomes val, the others train; test_fraction is
    held out before. null: one split by val_fraction and test_fraction."""

    fold: NonNegativeInt | None = None
    """Which part is val, from 0, where `folds` or the split file has parts. null: the first of
    `folds`; the split file's own splits."""

    split_file: UserPath | None = None
    """CSV file with file_name,split and perhaps fold that says what belongs where, such as the
    split.csv that a conversion writes; for data that comes in one piece."""

    @model_validator(mode="after")
    def _check_fold(self) -> DataConfig:
        if self.fold is not None and self.folds is None and self.split_file is None:
            raise ValueError(
                "fold says which part is val, but there are none: give folds as well, or a "
                "split_file with folds"
            )
        return self


class ModelConfig(Section):
    """Which detector is fine-tuned, and from which weights."""

    name: str = "auto"
    """`auto`, `efficientnet_lite0_fpn`, `timm/<backbone>`, or a name of Detectron2's zoo such as
    `COCO-Detection/faster_rcnn_R_50_FPN_3x`."""

    weights: str = "auto"
    """`auto` (the model's own pretrained weights), a file, a zoo name, or `random` (from
    scratch)."""

    freeze_at: NonNegativeInt | None = None
    """Backbone stages that stay as they are, counted from the stem; 0 trains all. null: 2."""

    anchor_sizes: list[PositiveFloat] | None = None
    """Anchor side in pixels for each feature level, finest first. null: from the box sizes in the
    training data."""

    fpn_channels: PositiveInt = 128
    """Channels of the FPN of a timm model."""

    box_head_dim: PositiveInt = 256
    """Width of the box head's two fully connected layers of a timm model."""

    rois_per_image: PositiveInt = 128
    """RoIs sampled from each training image for the ROI heads of a timm model."""


class AugmentConfig(Section):
    """Sizes, random augmentation in training. Test images are only resized."""

    image_size: PositiveInt | None = None
    """Shorter side of an image after resizing, pixels, in training and testing."""

    max_size: PositiveInt | None = None
    """Limit of the longer side after resizing, pixels. null: 5/3 of `image_size`."""

    crop_size: NonNegativeInt | None = None
    """Side of the square cut from a resized training image, pixels; 0 takes the whole image."""

    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.25)
    """Range of the random factor on `image_size` in training."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "horizontal"
    """Random flips, each with probability one half."""

    rotate90: bool = False
    """Turn by a random multiple of 90 degrees: for pictures without an up, such as aerial ones."""

    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Free rotation by up to this many degrees either way; boxes become the hull of the turned
    box, so keep it small unless there are masks."""

    brightness: Fraction = 0.2
    """Random change of brightness, as a share either way."""

    contrast: Fraction = 0.2
    """Random change of contrast, as a share either way."""

    saturation: Fraction = 0.2
    """Random change of saturation, as a share either way."""

    min_visible: Fraction = 0.3
    """Objects of which a crop or rotation leaves less than this share of the area are dropped."""

    @model_validator(mode="after")
    def _check_sizes(self) -> AugmentConfig:
        if self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError("scale_jitter should be [low, high] with low not above high")
        if self.image_size and self.max_size and self.max_size < self.image_size:
            raise ValueError("max_size, the longer side's limit, should not be below image_size")
        return self


class SolverConfig(Section):
    """Optimizer and schedule."""

    optimizer: Literal["adamw", "sgd"] | None = None
    """Optimizer; null: adamw for timm models, sgd for zoo models."""

    base_lr: PositiveFloat | None = None
    """Peak learning rate. null: suits optimizer and batch."""

    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay. null: 0.05 for adamw, 0.0001 for sgd."""

    images_per_batch: PositiveInt | None = None
    """Images in one step, over all processes. null: 4 on a CPU, 8 on a GPU."""

    max_iter: PositiveInt | None = None
    """Training steps. null: from the number of images and the hardware."""

    warmup_iters: NonNegativeInt | None = None
    """Steps over which the rate rises to `base_lr`. null: a tenth of `max_iter`."""

    decay: Literal["cosine", "linear", "step", "constant"] = "cosine"
    """How the rate falls after warm-up; step divides by ten at 70 % and 90 %."""

    clip_norm: Annotated[float, Field(ge=0)] = 5.0
    """Largest norm of all gradients together; 0 does not clip."""

    checkpoint_period: PositiveInt | None = None
    """Steps between saves of checkpoints/last.pth. null: 50 on a CPU, 500 on a GPU."""

    repeat_threshold: Fraction = 0.0
    """Repeat images with rare classes (LVIS repeat-factor sampling, arXiv:1908.03195): classes in
    fewer than this share of images are repeated; 0 does not."""


class HardwareConfig(Section):
    """The machine's part."""

    name: Literal["auto", "cpu", "gpu"] = "auto"
    """Which of the hardware groups this is."""

    device: str = "cpu"
    """torch device: cpu, cuda, cuda:1, mps."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Number format of the forward and backward pass (autocast); weights stay fp32. auto: bf16
    where the device has it, else fp16 on a GPU; fp32 on a CPU."""

    num_workers: NonNegativeInt = 2
    """Processes that load images; 0 loads in the main process."""

    channels_last: bool = True
    """Store activations as NHWC, quicker for most convolutions."""

    sparse_roi_align: bool = True
    """On a CPU, compute ROIAlign as a sparse matrix product (same result, several times as
    fast)."""


class EvaluationConfig(Section):
    """How and when AP is measured."""

    eval_period: NonNegativeInt | None = None
    """Steps between evaluations on validation; 0 only at the end. null: four in a run."""

    detections_per_image: PositiveInt | None = None
    """Most detections kept an image. null: 100, or twice the fullest labelled image."""

    test_at_end: bool = True
    """Evaluate the best checkpoint on the test split, where there is one, when training ends."""

    pictures: NonNegativeInt = 12
    """Held-out images drawn with ground truth beside predictions; 0 draws none."""


class TrainConfig(Section):
    """A training run: `tools/train_net.py`."""

    task: Task = "bbox"
    """bbox trains boxes (Faster R-CNN); segm masks as well (Mask R-CNN)."""

    seed: NonNegativeInt = 0
    """Seed of weights, sampling and augmentation."""

    output_dir: UserPath | None = None
    """Run folder. null: runs/<data.name>, with a number when that is taken."""

    resume: UserPath | None = None
    """Run folder to go on with; its own configuration is used, only `solver.max_iter` may be
    given beside."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    solver: SolverConfig = SolverConfig()
    hardware: HardwareConfig = HardwareConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    detectron2: dict[str, Any] = {}
    """Raw Detectron2 keys, such as `detectron2.MODEL.RPN.NMS_THRESH=0.6`; checked against the
    keys that Detectron2 knows."""


class ConvertConfig(Section):
    """A conversion: `tools/convert_labels.py`."""

    data: DataConfig = DataConfig()

    output: UserPath | None = None
    """Folder that receives the labels, the ledger and the contact sheet. null:
    datasets/<data.name>_<output_format>."""

    output_format: Literal["coco", "yolo", "voc", "txt"] = "coco"
    """What is written: COCO JSON, which holds everything; YOLO (outlines where there are any);
    Pascal VOC or txt (boxes alone)."""

    images: Literal["leave", "link", "copy"] = "leave"
    """Whether images are left where they are, or linked or copied to the labels (not for coco,
    whose dataset.json says where they are)."""

    overwrite: bool = False
    """Replace an output that is there already."""

    num_workers: NonNegativeInt | None = None
    """Processes and threads that read labels and image headers. null: by the number of cores."""

    contact_sheet: NonNegativeInt = 16
    """Labelled images a split shown on its contact sheet; 0 draws none."""


class CheckConfig(Section):
    """A check of a data set: `tools/check_dataset.py`."""

    data: DataConfig = DataConfig()

    output: UserPath | None = None
    """Folder for the page, the findings and the ledger. null: checks/<data.name>."""

    overwrite: bool = True
    """Replace an output that an earlier check made; nothing else is ever replaced."""

    fix: bool = False
    """Write a corrected copy of the labels as well (also as `--fix`); the data stays as it is."""

    fixed: UserPath | None = None
    """Folder of the corrected copy. null: datasets/<data.name>_fixed."""

    quick: bool = False
    """Look at labels and image headers only; without it every image is decoded once."""

    fail_on: Literal["error", "warning", "never"] = "error"
    """From which severity on the exit code is 1."""

    samples: NonNegativeInt = 24
    """Labelled images shown on the page."""

    num_workers: NonNegativeInt | None = None
    """Processes that read. null: one a core."""

    task: Task = "bbox"
    """What is to be trained; segm also wants outlines."""

    model: ModelConfig = ModelConfig()
    """The model whose anchors the boxes are held against."""

    augment: AugmentConfig = AugmentConfig()
    """The image size that the boxes are judged at."""

    hardware: HardwareConfig = HardwareConfig()


class EvaluateConfig(Section):
    """An evaluation: `tools/evaluate.py`."""

    run: UserPath | None = None
    """Run folder to evaluate (its best checkpoint)."""

    checkpoint: UserPath | None = None
    """A checkpoint file instead of a run."""

    data: DataConfig = DataConfig()
    """Data to evaluate on. Without `data.root`: the data of the run."""

    split: SplitName = "val"
    """Which split."""

    output: UserPath | None = None
    """Folder for results. null: evaluation/<split> in the run folder."""

    hardware: HardwareConfig = HardwareConfig()

    evaluation: EvaluationConfig = EvaluationConfig()


class PredictConfig(Section):
    """Prediction: `tools/predict.py`."""

    run: UserPath | None = None
    """Run folder whose best checkpoint predicts."""

    checkpoint: UserPath | None = None
    """A checkpoint file instead of a run."""

    input: UserPath | None = None
    """An image, a folder of images or a video."""

    output: UserPath | None = None
    """Folder for pictures and COCO results. null: predictions/<name of the input>."""

    overwrite: bool = False
    """Replace an output that is there already."""

    score_threshold: Fraction | None = None
    """Lowest score drawn and written. null: the one that was best on validation."""

    hardware: HardwareConfig = HardwareConfig()
