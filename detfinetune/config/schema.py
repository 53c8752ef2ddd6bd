"""The typed configuration: all keys with their unit, range and the meaning of `null`.

`null` means "choose for me": `engine.recipe` chooses a value from the data and the hardware, and
prints it with the reason. Values that the user sets are never replaced. Unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from detfinetune.families import family_of

DEFAULT_COLUMNS = "class,x1,y1,x2,y2"
"""Columns of txt labels unless `data.columns` says otherwise."""


def _not_empty(path: object) -> object:
    # An unset shell variable would otherwise mean the current folder.
    if path == "":
        raise ValueError("should not be empty; give a path or null")
    return path


def _one_folder(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise ValueError("should be the name of one folder, such as 'cells'")
    return name


UserPath = Annotated[
    Path, BeforeValidator(_not_empty), AfterValidator(lambda path: path.expanduser())
]
FolderName = Annotated[str, AfterValidator(_one_folder)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
AnchorSides = list[PositiveFloat | list[PositiveFloat]]

Task = Literal["bbox", "segm"]
Precision = Literal["fp32", "bf16", "fp16"]
Optimizer = Literal["adamw", "sgd"]
Decay = Literal["cosine", "linear", "step", "constant", "cooldown"]
SplitName = Literal["train", "val", "test"]
LabelFormat = Literal[
    "auto", "txt", "yolo", "dota", "coco", "voc", "labelme", "cvat", "openimages", "label_studio",
    "via", "florence", "csv", "detfinetune",
]  # fmt: skip
Policy = Literal["fix", "reject", "stop"]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
_OLD_COORDINATES = {"pixels": "absolute", "fractions": "normalized"}


class Section(BaseModel):
    """A frozen part of the configuration that rejects unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )


class DataConfig(Section):
    """Where images and labels are, and how to read the labels."""

    name: FolderName = "custom"
    """Short name of the data set, used in messages and default output folders."""

    root: UserPath | None = None
    """Folder of the data set; every other path here is relative to it."""

    source: str = ""
    """Where to get the data set, shown when `root` is missing."""

    sample_scenes: bool = False
    """Generate the sample scenes and use them, when `root` is null."""

    format: LabelFormat = "auto"
    """Label format; txt has the columns of `columns`, yolo boxes or polygons."""

    images: str | None = None
    """Folder of images; `{split}` stands for the split's folder name. null: auto-detected."""

    labels: str | None = None
    """Folder of label files; `{split}` as above. null: auto-detected."""

    annotations: str | None = None
    """File with the labels of many images (COCO JSON, CSV, CVAT, VIA, ...); `{split}` as above.
    null: auto-detected."""

    image_list: str | None = None
    """Text file that lists the images of a split, one a line, with or without extension;
    `{split}` as above. Images that are not listed are left out; they are not negatives."""

    splits: dict[SplitName, str] | None = None
    """Folder names of the splits, such as `{train: train, val: valid}`. null: auto-detected."""

    classes: list[str] | UserPath | None = None
    """Class names in the order of their ids, or a file with them (classes.txt, obj.names,
    data.yaml). null: auto-detected beside the labels."""

    columns: str = DEFAULT_COLUMNS
    """Columns of a txt line in order: class, x1, y1, x2, y2; or x, y (top left), cx, cy (centre),
    w, h; `-` for a column to ignore. Separators and brackets are auto-detected."""

    coordinates: Literal["auto", "absolute", "normalized"] = "auto"
    """Unit of txt coordinates: absolute (pixels) or normalized (0-1). auto: normalized if most
    lines have no value above 1."""

    first_class: Literal[0, 1] | None = None
    """Id of the first class in the labels. null: 1 if no id is 0 and the highest id is the number
    of classes, otherwise 0."""

    first_pixel: Literal[0, 1] = 0
    """Coordinate of the first pixel in txt labels; 1 for one-based pixels."""

    image_sizes: UserPath | None = None
    """JSON (COCO) or CSV (file_name,width,height) with image sizes, for labels without images."""

    on_problem: Policy = "fix"
    """What to do with invalid labels: fix those that can be fixed and reject the rest, reject all,
    or stop at the first."""

    val_fraction: Fraction = 0.15
    """Share of images to hold out for val, if the data has no val split."""

    test_fraction: Fraction = 0.15
    """Share of images to hold out for test, if the data has no splits at all."""

    split_seed: int = 0
    """Random seed of that split."""

    stratify: bool = True
    """Balance the objects of each class between splits, not only the number of images."""

    split_groups: str | None = None
    """Images that must stay in one split, such as frames of a video, to avoid data leakage: a
    regular expression for the image path whose first group is the name of the group
    (`^(.+)_\\d+\\.jpg$`), or a CSV file with file_name,group."""

    folds: Annotated[int, Field(ge=2)] | None = None
    """Number of folds for cross-validation: `fold` is val, the others are train; test_fraction is
    held out first. null: one split by val_fraction and test_fraction."""

    fold: NonNegativeInt | None = None
    """Which fold is val, from 0; needs `folds`, or a split file with folds. null: the first of
    `folds`, or the split file's own splits."""

    split_file: UserPath | None = None
    """CSV file with file_name,split and optionally fold, such as split.csv from a conversion; for
    data without splits."""

    split_from: UserPath | None = None
    """Run folder whose images keep their splits; images that are new since are for training. To
    train again on more data with the same test set."""

    @field_validator("coordinates", mode="before")
    @classmethod
    def _rename_coordinates(cls, value: object) -> object:
        """Accept the values of older versions, which stored configurations still have."""
        return _OLD_COORDINATES.get(value, value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_fold(self) -> DataConfig:
        if self.fold is not None and self.folds is None and self.split_file is None:
            raise ValueError("fold needs folds, or a split_file with folds")
        if self.split_from is not None and (self.folds is not None or self.split_file is not None):
            raise ValueError("split_from cannot be combined with folds or split_file")
        return self


class ModelConfig(Section):
    """Which detector is fine-tuned, and from which weights. A family adds keys of its own."""

    name: str = "auto"
    """`auto`, `efficientnet_lite0_fpn`, `timm/<backbone>`, a name of Detectron2's zoo such as
    `COCO-Detection/faster_rcnn_R_50_FPN_3x`, `florence2` or `florence2_large`, or a transformer:
    `vit/<timm's name>`, `dit_diffusion`, `dit_document`."""

    weights: str = "auto"
    """`auto` (the model's pretrained weights), a file, a zoo name, a folder or hub name of a
    transformer, or `random` (train from scratch)."""


def _default_model() -> ModelConfig:
    return family_of("auto").Settings()


def _of_family(value: object, validate: ValidatorFunctionWrapHandler) -> ModelConfig:
    """Validate `model.*` as the settings of the family that `model.name` belongs to."""
    if isinstance(value, ModelConfig):
        value = value.model_dump()
    if not isinstance(value, Mapping):
        settings: ModelConfig = validate(value)
        return settings
    return family_of(str(value.get("name", "auto"))).Settings.model_validate(value)


FamilySettings = Annotated[SerializeAsAny[ModelConfig], WrapValidator(_of_family)]


class AlbumentationsTransform(BaseModel):
    """A transform of albumentations with its arguments, of which null is the default."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    transforms: list[AlbumentationsTransform] | None = None
    """Of one that is made of others, such as OneOf."""


def _read_albumentations(value: object) -> object:
    """Return the transforms of a file that `albumentations.save` wrote; others as they are."""
    if not isinstance(value, (str, Path)):
        return value
    try:
        saved = yaml.safe_load(Path(value).expanduser().read_text(encoding="utf-8"))
        transform = _named(saved["transform"])
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read ({error})") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("should be a file as albumentations.save writes it, or a list") from error
    # Its settings of boxes are for other labels than ours.
    if transform["name"] == "Compose":
        transform = {key: transform[key] for key in ("p", "transforms")} | {"name": "Sequential"}
    return [transform]


def _named(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a saved transform with its name as we have it."""
    arguments = {key: value for key, value in saved.items() if key != "__class_fullname__"}
    if "transforms" in arguments:
        arguments["transforms"] = [_named(inner) for inner in arguments["transforms"]]
    return {"name": saved["__class_fullname__"].rpartition(".")[2], **arguments}


class AugmentConfig(Section):
    """Image sizes, and random augmentation in training. Test images are only resized."""

    image_size: PositiveInt | None = None
    """Shorter side of an image after resizing, pixels, in training and testing."""

    max_size: PositiveInt | None = None
    """Limit of the longer side after resizing, pixels. null: 5/3 of `image_size`."""

    crop_size: NonNegativeInt | None = None
    """Side of a square random crop of the resized training image, pixels; 0: no crop."""

    window: tuple[float, float] | None = None
    """Grey levels that become black and white, of images with more than 8 bits (16-bit PNG and
    TIFF). null: the 0.5th and 99.5th percentile of the training images."""

    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.25)
    """Range of the random factor on `image_size` in training."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "horizontal"
    """Random flips, each with probability one half."""

    rotate90: bool = False
    """Rotate by a random multiple of 90 degrees: for images without an up, such as aerial ones."""

    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Rotate by up to this many degrees either way. Boxes become the bounding box of the rotated
    box, so keep this small unless there are masks."""

    brightness: Fraction = 0.2
    """Maximum random change of brightness, relative."""

    contrast: Fraction = 0.2
    """Maximum random change of contrast, relative."""

    saturation: Fraction = 0.2
    """Maximum random change of saturation, relative."""

    min_visible: Fraction = 0.3
    """Drop objects of which a crop or rotation leaves less than this share of the area."""

    albumentations: Annotated[
        list[AlbumentationsTransform] | None, BeforeValidator(_read_albumentations)
    ] = None
    """Transforms of albumentations to apply after these, as `[{name: GaussNoise, p: 0.2}]`, or a
    file that `albumentations.save` wrote; needs `pip install 'detfinetune[albumentations]'`."""

    @model_validator(mode="after")
    def _check_sizes(self) -> AugmentConfig:
        if self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError("scale_jitter should be [low, high] with low <= high")
        if self.window and self.window[0] >= self.window[1]:
            raise ValueError("window should be [low, high] with low < high")
        if self.image_size and self.max_size and self.max_size < self.image_size:
            raise ValueError("max_size (limit of the longer side) should not be below image_size")
        return self


class SolverConfig(Section):
    """Optimizer and schedule."""

    optimizer: Optimizer | None = None
    """Optimizer; null: adamw for timm models, sgd for zoo models."""

    base_lr: PositiveFloat | None = None
    """Peak learning rate. null: chosen for the optimizer and the batch size."""

    weight_decay: NonNegativeFloat | None = None
    """Weight decay. null: 0.05 for adamw, 0.0001 for sgd."""

    images_per_batch: PositiveInt | None = None
    """Images per step, over all processes. null: 4 on a CPU, 8 on a GPU."""

    accumulate: PositiveInt | None = None
    """Parts that each step's batch is divided into, one after the other: their gradients are added
    up, with less memory. 1: the whole batch at once. null: by the memory that is free."""

    max_iter: PositiveInt | None = None
    """Training steps. null: chosen from the images, their objects and the hardware."""

    minutes: PositiveFloat | None = None
    """Time for training with its evaluations, instead of `max_iter`, which is chosen by timing the
    first steps before the run begins."""

    warmup_iters: NonNegativeInt | None = None
    """Steps in which the learning rate rises to `base_lr`. null: a tenth of `max_iter`."""

    decay: Decay | None = None
    """Learning rate schedule after warm-up; step divides by ten at 70 % and 90 %, cooldown is
    constant until the last fifth, in which it falls linearly. null: as the model needs, mostly
    cosine."""

    clip_norm: NonNegativeFloat = 5.0
    """Clip the norm of all gradients together to this value; 0: no clipping."""

    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Evaluate and keep an exponential moving average of the weights (EMA): the share of the old
    average at each step, such as 0.999, less in the first steps; 0: no average."""

    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate from each stage of the backbone to the one before it, so that
    early layers change less (arXiv:2003.10555); 1: the same for all."""

    patience: NonNegativeInt = 0
    """Stop training after this many evaluations on val in a row without a better AP; 0: never.
    It rarely helps with a learning rate that falls to the end, as AP then rises late."""

    checkpoint_period: PositiveInt | None = None
    """Steps between saves of checkpoints/last.pth. null: 50 on a CPU, 500 on a GPU."""

    repeat_threshold: Fraction | None = None
    """Oversample images with rare classes (LVIS repeat-factor sampling, arXiv:1908.03195): a class
    is rare if fewer than this share of images have it; 0: no oversampling. null: 0.2 if there are
    such classes."""

    empty_share: Fraction | None = None
    """Largest share of images without objects among those that are drawn for training; 1: as many
    as there are. null: 0.5 if more images are empty."""

    @model_validator(mode="after")
    def _check_length(self) -> SolverConfig:
        if self.minutes is not None and self.max_iter is not None:
            raise ValueError("give minutes or max_iter, not both")
        return self


class HardwareConfig(Section):
    """Settings of the machine."""

    name: Literal["auto", "cpu", "gpu"] = "auto"
    """Name of the hardware group."""

    device: str = "cpu"
    """torch device: cpu, cuda, cuda:1, mps."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Number format of the forward and backward pass (autocast); weights stay fp32. auto: bf16 if
    the device supports it (on a CPU: and the model gains by it), otherwise fp16 on a GPU and fp32
    on a CPU."""

    num_workers: NonNegativeInt = 2
    """Data loader processes; 0 loads in the main process."""

    channels_last: bool = True
    """Store activations as NHWC, which is faster for most convolutions."""

    sparse_roi_align: bool = True
    """Compute ROIAlign on a CPU as a sparse matrix product: same result, several times as fast."""


class EvaluationConfig(Section):
    """How and when to evaluate."""

    eval_period: NonNegativeInt | None = None
    """Steps between evaluations on val; 0: only at the end. null: four in a run."""

    detections_per_image: PositiveInt | None = None
    """Maximum detections per image. null: 100, or twice the most objects of a labelled image."""

    loss: bool = False
    """Also compute the losses on val at each evaluation, which takes about as long again."""

    test_at_end: bool = True
    """Evaluate the best checkpoint on the test split, if there is one, when training ends."""

    pictures: NonNegativeInt = 12
    """Number of held-out images drawn with ground truth beside predictions."""


class TrainConfig(Section):
    """A training run."""

    task: Task = "bbox"
    """bbox: boxes (Faster R-CNN); segm: boxes and masks (Mask R-CNN)."""

    seed: NonNegativeInt = 0
    """Seed of weights, sampling and augmentation."""

    seeds: PositiveInt = 1
    """Number of runs, one after the other, with seed, seed + 1, ... and the same splits; each has a
    folder of its own in the run folder, beside the mean and the spread of their figures."""

    output_dir: UserPath | None = None
    """Run folder. null: runs/<data.name>, with a number when that is taken."""

    resume: UserPath | None = None
    """Run folder to resume, or folder of several seeds, with its own configuration; only
    `solver.max_iter`, and `data.root` for data that was moved, may be changed."""

    trackers: list[TrackerName] = ["tensorboard"]
    """Where curves go, beside train_metrics.jsonl. mlflow and wandb need the extra of that name, as
    in `pip install 'detfinetune[mlflow]'`."""

    data: DataConfig = DataConfig()
    model: FamilySettings = Field(default_factory=_default_model)
    augment: AugmentConfig = AugmentConfig()
    solver: SolverConfig = SolverConfig()
    hardware: HardwareConfig = HardwareConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    detectron2: dict[str, Any] = {}
    """Raw Detectron2 keys, such as `detectron2.MODEL.RPN.NMS_THRESH=0.6`; unknown keys are
    errors."""


class ConvertConfig(Section):
    """A conversion."""

    data: DataConfig = DataConfig()

    output: UserPath | None = None
    """Folder for the labels, the ledger and the contact sheets. null:
    datasets/<data.name>_<output_format>."""

    output_format: Literal["coco", "yolo", "voc", "txt", "florence"] = "coco"
    """Format to write: COCO JSON, which keeps everything; YOLO (polygons if there are any);
    Pascal VOC, txt or Florence-2's JSONL (boxes only)."""

    images: Literal["leave", "link", "copy"] = "leave"
    """Leave images where they are, or link or copy them beside the labels (not for coco, whose
    dataset.json has their folder)."""

    overwrite: bool = False
    """Replace an existing output."""

    contact_sheet: NonNegativeInt = 16
    """Number of labelled images on each split's contact sheet."""


class CheckConfig(Section):
    """A check of a data set."""

    data: DataConfig = DataConfig()

    output: UserPath | None = None
    """Folder for the page, the findings and the ledger. null: checks/<data.name>."""

    overwrite: bool = True
    """Replace the output of an earlier check; nothing else is ever replaced."""

    fix: bool = False
    """Also write a corrected copy of the labels (same as `--fix`); the data is not changed."""

    fixed: UserPath | None = None
    """Folder of the corrected copy. null: datasets/<data.name>_fixed."""

    quick: bool = False
    """Check only labels and image headers; otherwise every image is decoded once."""

    fail_on: Literal["error", "warning", "never"] = "error"
    """Lowest severity for which the exit code is 1."""

    samples: NonNegativeInt = 24
    """Number of labelled images on the page."""

    num_workers: NonNegativeInt | None = None
    """Processes that decode images. null: one per core."""

    task: Task = "bbox"
    """What the data will be used to train; segm needs masks."""

    model: FamilySettings = Field(default_factory=_default_model)
    """The model whose anchors are compared with the boxes."""

    augment: AugmentConfig = AugmentConfig()
    """Image size for the checks of object sizes."""

    hardware: HardwareConfig = HardwareConfig()


class LabelConfig(Section):
    """A session of labelling in the browser."""

    data: DataConfig = DataConfig()
    """The folder of images, and how to read labels that are there in another format."""

    store: UserPath | None = None
    """Folder for the labels, where the images' own cannot be written. null: .detfinetune in
    `data.root`."""

    queue: UserPath | None = None
    """JSON file of places to review: the findings.json of a check, or a list of objects with
    image, box and reason."""

    train: UserPath | None = None
    """YAML file with settings for the trainings that the page starts, as `config=FILE` of `train`
    takes it."""

    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """Port of the server on this machine. null: a free one."""

    browser: bool = True
    """Open the page in the browser; false (same as `--no-browser`) only prints its address."""


class EvaluateConfig(Section):
    """An evaluation."""

    run: UserPath | None = None
    """Run folder to evaluate (its best checkpoint)."""

    checkpoint: UserPath | None = None
    """Checkpoint file instead of a run."""

    data: DataConfig = DataConfig()
    """Data to evaluate on; without `data.root`, the data of the run."""

    split: SplitName = "val"
    """Split to evaluate on."""

    output: UserPath | None = None
    """Folder for results. null: evaluation/<split> in the run folder."""

    hardware: HardwareConfig = HardwareConfig()

    evaluation: EvaluationConfig = EvaluationConfig()


class AskConfig(Section):
    """A question to a model that answers prompts."""

    run: UserPath | None = None
    """Run folder; its best checkpoint is asked."""

    checkpoint: UserPath | None = None
    """Checkpoint file instead of a run."""

    model: FamilySettings = Field(default_factory=_default_model)
    """Base weights instead of a run, as they were published or from a folder."""

    prompt_task: str | None = None
    """What to ask: caption, detailed_caption, more_detailed_caption, dense_region_caption,
    region_proposal, od, referring_segmentation, phrase_grounding, ocr or ocr_with_region."""

    text: str | None = None
    """Words to look for; needed by referring_segmentation and phrase_grounding alone."""

    input: UserPath | None = None
    """An image or a folder of images."""

    output: UserPath | None = None
    """Folder for pictures and answers.json. null: answers/<name of the input>."""

    overwrite: bool = False
    """Replace an existing output of this command; nothing else is ever replaced."""

    hardware: HardwareConfig = HardwareConfig()


class MergeConfig(Section):
    """A merge of what was trained into its base weights."""

    run: UserPath | None = None
    """Run folder; its best checkpoint is used."""

    checkpoint: UserPath | None = None
    """Checkpoint file instead of a run."""

    output: UserPath | None = None
    """Folder for the merged model, in the format of the base weights."""

    overwrite: bool = False
    """Replace an existing output of this command; nothing else is ever replaced."""


class ProposeConfig(Section):
    """Proposals of boxes for labelling."""

    data: DataConfig = DataConfig()
    """The folder of images, and how to read the labels that it may have."""

    run: UserPath | None = None
    """Run folder; its best checkpoint proposes. With `model` too, the one that is cheaper to
    correct on labelled images."""

    model: str | None = None
    """Zero-shot model: grounding_dino_tiny, grounding_dino_base, mm_grounding_dino_tiny,
    mm_grounding_dino_base, owlv2_base, owlv2_large, florence2, florence2_large, a folder of
    transformers, or a name on the Hugging Face hub."""

    prompts: UserPath | None = None
    """YAML file with the words to look for, a line for each class, such as `car: [car, vehicle]`.
    null: the class names of the data."""

    output: UserPath | None = None
    """COCO JSON file for the proposals; after an interruption, what is done is in
    <output>.partial. null: into the labels of `detfinetune label`, for images that are to do."""

    store: UserPath | None = None
    """Folder of those labels. null: .detfinetune in `data.root`."""

    images: PositiveInt | None = None
    """Number of images that wait with proposals in those labels afterwards: to those that do
    already, images are added that the model is unsure of and that differ, a fifth at random. null:
    all that are to do."""

    overwrite: bool = False
    """Replace an existing output, or proposals of the same source in the labels."""

    score_threshold: Fraction | None = None
    """Lowest score of proposals to keep, 0.05 or more. null: by class the one that costs least to
    correct on the first 20 labelled images; without labels, what is usual for the model."""

    hardware: HardwareConfig = HardwareConfig()


class PredictConfig(Section):
    """A prediction."""

    run: UserPath | None = None
    """Run folder; its best checkpoint is used."""

    checkpoint: UserPath | None = None
    """Checkpoint file instead of a run."""

    input: UserPath | None = None
    """An image, a folder of images or a video."""

    output: UserPath | None = None
    """Folder for pictures and COCO results. null: predictions/<name of the input>.

    After an interruption, what is done is in <output>.partial, and the same command goes on."""

    overwrite: bool = False
    """Replace an existing output."""

    score_threshold: Fraction | None = None
    """Lowest score of detections to keep. null: the threshold with the best F1 on val."""

    hardware: HardwareConfig = HardwareConfig()
