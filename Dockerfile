# Two images of the same service: `cpu` (the default, linux/amd64 and linux/arm64) and `cuda` (linux/amd64).
# docker/README.md says how they are built, run and checked.

# A version and no digest: no registry of images was reachable where this was written. `--build-arg NODE_IMAGE=node@sha256:…` pins
# it for a build of your own (docker/README.md).
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc docker/installed-sbom.mjs ./
# Without install scripts: the one that counts, ONNX Runtime's, fetches CUDA libraries of another origin.
# llama.cpp is an optional peer, which development has; here it is a dependency, at the locked version.
RUN llama=$(node -p 'require("./package.json").devDependencies["node-llama-cpp"]') \
  && npm pkg delete devDependencies.node-llama-cpp \
  && npm pkg set "dependencies.node-llama-cpp=$llama" \
  && npm install --omit=dev --ignore-scripts --no-audit --no-fund \
  # An optional peer of one package, for its types; npm keeps it since development has it too.
  && rm -rf node_modules/typescript node_modules/@typescript \
  && node installed-sbom.mjs > sbom.cdx.json \
  && cd node_modules/onnxruntime-node/bin/napi-v6 \
  && find . -mindepth 2 -maxdepth 2 ! -path "./$(node -p 'process.platform + "/" + process.arch')" -exec rm -r {} +

FROM ${NODE_IMAGE} AS service
LABEL org.opencontainers.image.title="Loradrop" org.opencontainers.image.licenses="Apache-2.0"
# Numbers, so that an orchestrator can see that it is not root.
RUN install -d -o 1000 -g 1000 /data /bundles
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
# What the image has from npm, with versions, digests and licences; what it has from Debian stands in /var/lib/dpkg/status.
COPY --from=dependencies /app/sbom.cdx.json ./
COPY package.json LICENSE THIRD_PARTY_NOTICES.md ./
COPY examples examples
COPY bin bin
COPY src src
ENV HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
USER 1000:1000
VOLUME /data
EXPOSE 8080
# Healthy is ready: bundles of gigabytes take minutes to verify and load.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/bin/loradrop.js"]
CMD ["start"]

FROM ${NODE_IMAGE} AS cuda-libraries
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-pip
COPY docker/cuda-requirements.txt docker/fetch-cuda.sh /fetch/
RUN sh /fetch/fetch-cuda.sh /cuda

FROM service AS cuda
USER 0:0
COPY --from=cuda-libraries /cuda/libraries /usr/local/lib/cuda
RUN echo /usr/local/lib/cuda > /etc/ld.so.conf.d/loradrop-cuda.conf && ldconfig
COPY --from=cuda-libraries /cuda/provider node_modules/onnxruntime-node/bin/napi-v6/linux/x64/
COPY --from=cuda-libraries /cuda/licences licences
USER 1000:1000
LABEL org.opencontainers.image.licenses="Apache-2.0 AND MIT AND LicenseRef-NVIDIA-CUDA"
# The driver's libraries come from the host, by the NVIDIA container toolkit, which reads these three.
ENV DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility NVIDIA_REQUIRE_CUDA=cuda>=13.0

# Last, so that it is what a build without --target gives.
FROM service AS cpu
