# docker build -t detfinetune .
# docker run --rm -v DIR:/data:ro -v "$PWD":/workspace detfinetune \
#     detfinetune train +experiment=custom data.root=/data
# For a GPU, add to run: --gpus all --shm-size=8g. See docs/install.md.
FROM python:3.11-slim-bookworm

# Index of torch's wheels for CPUs, or for a CUDA release that the machine's driver supports (see
# pytorch.org); empty: the package index's build.
ARG TORCH_INDEX=

# OpenCV needs both libraries, although nothing is displayed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

# First, so that the next step keeps it, and so that Docker caches it.
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision

WORKDIR /opt/detfinetune
COPY . .
RUN pip install --no-cache-dir -e . && detfinetune doctor --offline

# Caches lie beside the runs, and survive the container.
ENV DETFINETUNE_CACHE=/workspace/.cache/detfinetune FVCORE_CACHE=/workspace/.cache/zoo
WORKDIR /workspace
CMD ["detfinetune", "doctor"]
