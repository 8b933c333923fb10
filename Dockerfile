# syntax=docker/dockerfile:1
# The worker image, with or without a GPU, for Dataflow and any other runner that starts Beam's SDK
# containers. `make image` builds it and adds the labels that are checked before a launch.
#
# The torch wheel brings the CUDA libraries it was built for, so the base is plain Python: a CUDA
# base would hold them twice. The driver comes from the machine.
ARG BASE=python:3.11.14-slim-bookworm
ARG BEAM=2.77.0

FROM apache/beam_python3.11_sdk:${BEAM} AS beam

# `--build-context weights=FOLDER` replaces this stage.
FROM scratch AS weights
COPY LICENSE /

FROM ${BASE}

# Beam uses the image's Python, where everything is installed, and makes no environment of its own.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    HF_HOME=/opt/singsong/hub \
    TORCH_HOME=/opt/singsong/hub/torch

ARG UV=0.13.9
RUN pip install --no-cache-dir uv==${UV}

# The dependencies, in a layer that changes only with these three files.
WORKDIR /opt/singsong/source
COPY setup.py pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy uv pip install --system --constraints requirements.lock ".[all]"

COPY . .
RUN uv pip install --system --no-cache --no-deps --reinstall-package singsong .

# Loads each model once, so that its weights are in the image and the labels name them by content.
# MODELS may name files in /opt/singsong/weights.
COPY --from=weights / /opt/singsong/weights/
ARG MODELS=""
WORKDIR /opt/singsong
# hadolint ignore=SC2086
RUN python -m singsong.runners.image_labels ${MODELS} > labels

COPY --from=beam /opt/apache/beam /opt/apache/beam
RUN useradd --create-home --uid 1000 singsong
# The boot program writes the job's options to the folder where it starts.
WORKDIR /home/singsong
USER 1000:1000
ENV HF_HUB_OFFLINE=1

ENTRYPOINT ["/opt/apache/beam/boot"]
