"""Try detfinetune on this machine, with its GPU and its internet, and print a table of what held.

    python tests/acceptance.py                          # what `make acceptance` runs
    python tests/acceptance.py --steps 8 --scenes 20    # a short one, which expects no AP

Trains, kills, resumes, evaluates and predicts on sample scenes, by the commands a user calls. A
step that needs what the machine lacks is skipped. The table, the output of each command and the
runs are left in `runs/acceptance/<time>`. The exit code is 1 if a step failed.

To add a model, add it to `MODELS`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from detfinetune.config.hardware import detect_hardware
from detfinetune.models.download import reachable
from detfinetune.models.florence2.family import FAMILY as FLORENCE_FAMILY
from detfinetune.models.rcnn.weights import zoo_reachable, zoo_weights_cached
from detfinetune.propose.sources import PUBLISHED
from detfinetune.sample_scenes import write_sample_scenes

# What a model that has learned exceeds: the CPU's default reaches 56, random weights 9.
LEAST_AP = 30.0
# Longer than any command should take, seconds.
LONGEST = 2 * 60 * 60
HEADERS = ("step", "expected", "seen", "state", "seconds")

Need = Callable[[], str | None]
"""Returns what the machine lacks."""


class StepFailed(Exception):
    """What was expected did not come; the text is what was seen."""


@dataclass(frozen=True)
class Step:
    """A row of the table."""

    name: str
    expected: str
    run: Callable[[], str]
    """Returns what was seen; any exception is a failure."""

    needs: tuple[Need, ...] = ()
    after: str | None = None
    """The step without which this one makes no sense."""


@dataclass(frozen=True)
class Row:
    """What came of a step."""

    step: str
    expected: str
    seen: str
    state: str
    """ok, failed or skipped."""

    seconds: float


@dataclass(frozen=True)
class Model:
    """A detector to train, evaluate and predict with."""

    name: str
    overrides: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    killed: bool = False
    """Kill the training and resume it."""


def gpu() -> str | None:
    """Need a CUDA device."""
    return None if detect_hardware() == "gpu" else "no GPU"


def zoo_weights(name: str) -> Need:
    """Need the COCO weights of a model of Detectron2's zoo, cached or to be downloaded."""

    def need() -> str | None:
        known = zoo_weights_cached(name) or zoo_reachable()
        return None if known else "the model zoo cannot be reached"

    return need


def hub_weights(repository: str, extra: str = "", *modules: str) -> Need:
    """Need the weights of a repository on the Hugging Face hub, and the modules of an extra."""

    def need() -> str | None:
        if not all(map(find_spec, modules)):
            return f"the extra '{extra}' is not installed"
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            snapshot_download(repository, local_files_only=True)
        except LocalEntryNotFoundError:
            known = not constants.HF_HUB_OFFLINE and reachable(constants.ENDPOINT, 3.0)
            return None if known else "the weights' hub cannot be reached"
        return None

    return need


FLORENCE = ("model=florence2",)
FLORENCE_WEIGHTS = "florence-community/Florence-2-base"
FLORENCE_STEPS = 20
# Zero-shot models of each kind, and the pictures that they are tried on.
PROPOSERS = ("grounding_dino_tiny", "mm_grounding_dino_tiny", "owlv2_base", "florence2")
PROPOSED_IMAGES = 4
# Run without detfinetune: loads the merged model, and captions a picture.
RELOAD = """
import sys
from PIL import Image
from transformers import AutoProcessor, Florence2ForConditionalGeneration

folder, picture = sys.argv[1:]
model = Florence2ForConditionalGeneration.from_pretrained(folder).eval()
processor = AutoProcessor.from_pretrained(folder)
image = Image.open(picture).convert("RGB")
inputs = processor(text="<CAPTION>", images=image, return_tensors="pt")
answer = model.generate(**inputs, num_beams=3, do_sample=False, max_new_tokens=100)
print(processor.batch_decode(answer, skip_special_tokens=True)[0])
assert "detfinetune" not in sys.modules
"""
FASTER = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
MASK = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
DINOV2 = "timm/vit_small_patch14_dinov2.lvd142m"
DIT = "facebook/DiT-XL-2-256"
MODELS = (
    Model("EfficientNet-Lite0", ("model.name=efficientnet_lite0_fpn",), killed=True),
    Model("Faster R-CNN", (f"model.name={FASTER}",), (gpu, zoo_weights(FASTER)), killed=True),
    Model("Mask R-CNN", (f"model.name={MASK}", "task=segm"), (gpu, zoo_weights(MASK))),
    Model("DINOv2", ("model=vit_dinov2",), (gpu, hub_weights(DINOV2))),
    Model("DiT", ("model=dit_diffusion",), (gpu, hub_weights(DIT, "dit", "diffusers"))),
)


class Acceptance:
    """The steps, and the folder they work in."""

    def __init__(self, folder: Path, num_scenes: int, steps: int | None) -> None:
        """Set the folder, which must exist, and how much is trained; None: as the recipe says."""
        self.folder = folder
        self.num_scenes = num_scenes
        self.steps = steps

    def all_steps(self) -> list[Step]:
        """Return every step, in order."""
        scenes = Step("scenes", f"{self.num_scenes} images", self.scenes)
        check = Step("check", "0 errors", self.check, after="scenes")
        steps = [Step("doctor", "can train", self.doctor), scenes, check]
        for model in MODELS:
            steps += self.model_steps(model)
        return steps + self.florence_steps() + self.proposal_steps()

    def model_steps(self, model: Model) -> list[Step]:
        """Return the steps of one model."""
        ap = "an AP" if self.steps else f"AP of {LEAST_AP:.0f} or more"
        train, resume = f"{model.name}: train", f"{model.name}: resume"
        # What each does and expects, and after what.
        table: list[tuple[str, str, Callable[[Model], str], str]] = [
            (train, "weights load, all steps", self.train, "scenes")
        ]
        if model.killed:
            table = [
                (train, "weights load, a checkpoint", self.train_and_kill, "scenes"),
                (resume, "goes on to the last step", self.resume, train),
            ]
        trained = table[-1][0]
        table += [
            (f"{model.name}: evaluate", f"{ap}, as at the end of training", self.evaluate, trained),
            (f"{model.name}: predict", "a picture of each test image", self.predict, trained),
        ]
        return [
            Step(name, expected, partial(run, model), model.needs, after)
            for name, expected, run, after in table
        ]

    def florence_steps(self) -> list[Step]:
        """Return the steps of Florence-2."""
        weights = hub_weights(FLORENCE_WEIGHTS, "florence", *FLORENCE_FAMILY.requires)
        needs, train = (gpu, weights), "Florence-2: train"
        merge, reload = "Florence-2: merge", "Florence-2: reload"
        return [
            Step("Florence-2: caption", "a caption", self.caption, needs, "scenes"),
            Step(train, f"{FLORENCE_STEPS} steps", self.fine_tune_florence, needs, "scenes"),
            Step(merge, "a plain model", self.merge_florence, needs, train),
            Step(reload, "a caption, by transformers alone", self.reload_florence, needs, merge),
        ]

    def proposal_steps(self) -> list[Step]:
        """Return a step for each zero-shot model."""
        return [
            Step(
                f"Proposals: {name}", f"proposals for {PROPOSED_IMAGES} images",
                partial(self.propose, name),
                (hub_weights(PUBLISHED[name], "propose", "transformers"),), "scenes",
            )
            for name in PROPOSERS
        ]  # fmt: skip

    def propose(self, name: str, *overrides: str) -> str:
        """Propose boxes for some test images."""
        folder, output = self.folder / f"{name} images", self.folder / f"{name}.json"
        folder.mkdir()
        for picture in sorted(self.picture().parent.glob("*.jpg"))[:PROPOSED_IMAGES]:
            shutil.copy(picture, folder)
        prompts = self.folder / "prompts.yaml"
        prompts.write_text("building: [building, house]\nroad:\ntree:\n", encoding="utf-8")
        self.command(f"{name} propose", "propose", f"data.root={folder}", f"model={name}",
                     f"prompts={prompts}", f"output={output}", *overrides)  # fmt: skip
        found = json.loads(output.read_text(encoding="utf-8"))
        kinds = Counter(each["category_id"] for each in found["annotations"])
        counts = [f"{kinds[each['id']]} {each['name']}" for each in found["categories"]]
        seen = f"{', '.join(counts)} in {len(found['images'])} images"
        if len(found["images"]) < PROPOSED_IMAGES or not set(kinds) <= {1, 2, 3}:
            raise StepFailed(seen)
        return seen

    def caption(self) -> str:
        """Ask the published model about a picture."""
        output = self.folder / "Florence-2 caption"
        self.command("Florence-2 caption", "ask", *FLORENCE, "prompt_task=caption",
                     f"input={self.picture()}", f"output={output}")  # fmt: skip
        answers = json.loads((output / "answers.json").read_text(encoding="utf-8"))
        return _caption(answers["images"][0]["text"])

    def fine_tune_florence(self, *overrides: str) -> str:
        """Fine-tune it for a few steps."""
        model = Model("Florence-2", FLORENCE)
        self.command(f"{model.name} train", "train", "+experiment=florence2_lora", *self.data(),
                     *FLORENCE, f"solver.max_iter={FLORENCE_STEPS}", "evaluation.eval_period=0",
                     "evaluation.test_at_end=false", f"output_dir={self.run_of(model)}",
                     *overrides)  # fmt: skip
        losses = [line["loss_tokens"] for line in self.logged(model)]
        return f"{self.finished(model)}; loss {losses[0]:.2f} to {losses[-1]:.2f}"

    def merge_florence(self) -> str:
        """Write the plain model."""
        run, output = self.folder / "Florence-2 run", self.folder / "Florence-2 merged"
        self.command("Florence-2 merge", "merge", f"run={run}", f"output={output}")
        return f"{sum(path.stat().st_size for path in output.iterdir()) >> 20} MiB"

    def reload_florence(self) -> str:
        """Caption the same picture with transformers alone."""
        done = subprocess.run(
            [sys.executable, "-c", RELOAD, self.folder / "Florence-2 merged", self.picture()],
            capture_output=True, text=True, timeout=LONGEST, check=False, cwd=self.folder,
        )  # fmt: skip
        self.log("Florence-2 reload").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode:
            raise StepFailed(self.last_line("Florence-2 reload"))
        return _caption(done.stdout)

    def picture(self) -> Path:
        """Return a picture to caption."""
        return min((self.folder / "scenes" / "images" / "test").glob("*.jpg"))

    def doctor(self) -> str:
        """Describe the machine."""
        report = json.loads(self.command("doctor", "doctor", "--json"))
        (self.folder / "doctor.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
        subjects = ("torch", "device", "cuda", "model zoo")
        found = [item for item in report["findings"] if item["subject"].startswith(subjects)]
        return "; ".join(f"{item['subject']}: {item['value']}" for item in found)

    def scenes(self) -> str:
        """Generate the data."""
        folder = write_sample_scenes(self.folder / "scenes", num_scenes=self.num_scenes)
        return f"{len(list(folder.glob('images/*/*.jpg')))} images"

    def check(self) -> str:
        """Check the data."""
        self.command("check", "check", *self.data(), f"output={self.folder / 'check'}")
        findings = json.loads((self.folder / "check" / "findings.json").read_text(encoding="utf-8"))
        return ", ".join(f"{count} {severity}s" for severity, count in findings["counts"].items())

    def train(self, model: Model) -> str:
        """Train without interruption."""
        self.command(f"{model.name} train", *self.training(model))
        return f"{self.weights(model)}; {self.finished(model)}"

    def train_and_kill(self, model: Model) -> str:
        """Train until there is a checkpoint, and send SIGKILL."""
        period = max(1, min(20, self.steps // 4)) if self.steps else 20
        command = self.training(model, f"solver.checkpoint_period={period}")
        checkpoint = self.run_of(model) / "checkpoints" / "last.pth"
        with (
            self.log(f"{model.name} train").open("w", encoding="utf-8") as log,
            subprocess.Popen(_detfinetune(*command), stdout=log, stderr=log) as process,
        ):
            started = time.monotonic()
            while not checkpoint.is_file() and time.monotonic() < started + LONGEST:
                if process.poll() is not None:
                    raise StepFailed(self.last_line(f"{model.name} train"))
                time.sleep(0.05)
            process.kill()
        if not checkpoint.is_file():
            raise StepFailed(f"no checkpoint in {LONGEST} seconds")
        return f"{self.weights(model)}; killed"

    def resume(self, model: Model) -> str:
        """Resume what was killed."""
        output = self.command(f"{model.name} resume", "train", f"resume={self.run_of(model)}")
        (resumed,) = [line for line in output.splitlines() if line.startswith("resuming ")] or [""]
        if not resumed:
            raise StepFailed("it did not begin from a checkpoint")
        return f"resumed{resumed.rpartition(str(self.run_of(model)))[2]}; {self.finished(model)}"

    def evaluate(self, model: Model) -> str:
        """Evaluate on the test split, and compare with the end of training."""
        run, output = self.run_of(model), self.folder / f"{model.name} evaluation"
        self.command(f"{model.name} evaluate", "evaluate", f"run={run}", "split=test",
                     f"output={output}")  # fmt: skip
        metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
        ended = json.loads((run / "results.json").read_text(encoding="utf-8"))["test"]
        aps = {task: metrics[task]["AP"] for task in ended}
        seen = ", ".join(f"AP {ap:.1f} ({task})" for task, ap in aps.items())
        if any(abs(ap - ended[task]["AP"]) > 0.1 for task, ap in aps.items()):
            ends = ", ".join(f"{figures['AP']:.1f} ({task})" for task, figures in ended.items())
            raise StepFailed(f"{seen}, but at the end of training {ends}")
        if not self.steps and min(aps.values()) < LEAST_AP:
            raise StepFailed(seen)
        return seen

    def predict(self, model: Model) -> str:
        """Predict on the images of the test split."""
        images = self.folder / "scenes" / "images" / "test"
        output = self.folder / f"{model.name} predictions"
        self.command(f"{model.name} predict", "predict", f"run={self.run_of(model)}",
                     f"input={images}", f"output={output}")  # fmt: skip
        results = json.loads((output / "coco_results.json").read_text(encoding="utf-8"))
        names, pictures = ({path.name for path in at.glob("*.jpg")} for at in (images, output))
        seen = f"{len(pictures)} pictures of {len(names)} images, {len(results)} detections"
        if names != pictures:
            raise StepFailed(seen)
        return seen

    def data(self) -> list[str]:
        """Return the keys of the data; polygons serve boxes and masks."""
        return [f"data.root={self.folder / 'scenes'}", "data.labels=labels_yolo/{split}"]

    def training(self, model: Model, *overrides: str) -> list[str]:
        """Return the command that trains a model."""
        steps = [f"solver.max_iter={self.steps}"] if self.steps else []
        return ["train", "+experiment=satellite", *self.data(), *model.overrides, *steps,
                f"output_dir={self.run_of(model)}", *overrides]  # fmt: skip

    def run_of(self, model: Model) -> Path:
        """Return the run folder of a model."""
        return self.folder / f"{model.name} run"

    def logged(self, model: Model) -> list[dict[str, Any]]:
        """Return the lines of the training curves."""
        text = (self.run_of(model) / "train_metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def weights(self, model: Model) -> str:
        """Return what the training said about its base weights."""
        text = self.log(f"{model.name} train").read_text(encoding="utf-8")
        (said,) = [line for line in text.splitlines() if "tensors loaded" in line]
        return said.partition(",")[0].strip()

    def finished(self, model: Model) -> str:
        """Check that each step was logged once, up to the last, and describe the run."""
        text = (self.run_of(model) / "config.yaml").read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        logged = [line["iteration"] for line in self.logged(model)]
        hardware, wanted = config["hardware"], config["solver"]["max_iter"]
        seen = f"{logged[-1]} of {wanted} steps ({hardware['device']}, {hardware['precision']})"
        if logged[-1] != wanted or logged != sorted(set(logged)):
            raise StepFailed(f"{seen}; logged were {logged}")
        return seen

    def command(self, log: str, *words: str) -> str:
        """Run a command, keep its output in a file, and return it.

        Raises:
            StepFailed: the exit code is not 0.
        """
        path = self.log(log)
        with path.open("w", encoding="utf-8") as stream:
            code = subprocess.run(
                _detfinetune(*words), stdout=stream, stderr=stream, timeout=LONGEST, check=False
            ).returncode
        if code:
            raise StepFailed(f"exit code {code}: {self.last_line(log)}")
        return path.read_text(encoding="utf-8")

    def log(self, name: str) -> Path:
        """Return the file with the output of a command."""
        return self.folder / f"{name}.log"

    def last_line(self, name: str) -> str:
        """Return the last line that a command has printed, and where the others are."""
        text = self.log(name).read_text(encoding="utf-8").strip()
        return f"{text.rpartition(chr(10))[2]} ({self.log(name)})"


def _caption(text: str) -> str:
    if not text.strip():
        raise StepFailed("an empty caption")
    return text.strip()


def _detfinetune(*words: str) -> list[str]:
    return [sys.executable, "-m", "detfinetune", *words]


def run_steps(steps: Sequence[Step]) -> list[Row]:
    """Run the steps in order, and print a line after each."""
    rows: list[Row] = []
    for step in steps:
        started = time.perf_counter()
        seen, state = _run_step(step, {row.step: row.state for row in rows})
        rows.append(
            Row(step.name, step.expected, seen, state, round(time.perf_counter() - started, 1))
        )
        print(f"{state:<8}{step.name}: {seen}", flush=True)
    return rows


def _run_step(step: Step, states: dict[str, str]) -> tuple[str, str]:
    lacking = [lack for need in step.needs if (lack := need())]
    if lacking:
        return ", ".join(lacking), "skipped"
    if step.after and states[step.after] != "ok":
        return f"without '{step.after}'", "skipped"
    try:
        return step.run(), "ok"
    except StepFailed as error:
        return str(error), "failed"
    except Exception as error:  # whatever a wrong or missing file leads to
        return f"{type(error).__name__}: {error}", "failed"


def write_report(folder: Path, rows: Sequence[Row]) -> str:
    """Write the table as JSON and Markdown, and return it as text."""
    values = [asdict(row) for row in rows]
    (folder / "acceptance.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
    cells = [list(value.values()) for value in values]
    (folder / "acceptance.md").write_text(
        tabulate(cells, HEADERS, tablefmt="github") + "\n", encoding="utf-8"
    )
    return tabulate(cells, HEADERS, tablefmt="simple", maxcolwidths=[30, 30, 60, None, None])


def main() -> int:
    """Run all steps; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, help="training steps; default: as the recipe says")
    parser.add_argument("--scenes", type=int, default=200, help="sample scenes (default: 200)")
    default = Path("runs/acceptance") / time.strftime("%Y%m%d-%H%M%S")
    parser.add_argument("--output", type=Path, default=default, help="a folder that does not exist")
    arguments = parser.parse_args()
    folder: Path = arguments.output.absolute()
    folder.mkdir(parents=True)
    rows = run_steps(Acceptance(folder, arguments.scenes, arguments.steps).all_steps())
    print(f"\n{write_report(folder, rows)}\n\nWritten to {folder}")
    return int(any(row.state == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
