# auditkit, with the packages of ci/run.lock and their hashes; torch is the build for CPUs on x86-64:
#   docker build -t auditkit . && docker run --rm -v "$PWD:/work" auditkit run model.pt --dataset test.csv
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY auditkit auditkit
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# Pango and fonts for report.pdf; git for the commit that a report records.
RUN apt-get update && apt-get install -y --no-install-recommends git libpango-1.0-0 libpangoft2-1.0-0 \
    libharfbuzz-subset0 fonts-liberation fonts-noto-cjk && rm -rf /var/lib/apt/lists/*
COPY ci/torch-cpu.lock ci/torch-pypi.lock ci/run.lock /locks/
COPY --from=build /wheels /wheels
RUN { pip install --no-cache-dir --no-deps --require-hashes -r /locks/torch-cpu.lock \
    --extra-index-url https://download.pytorch.org/whl/cpu || \
    pip install --no-cache-dir --no-deps --require-hashes -r /locks/torch-pypi.lock; } && \
    pip install --no-cache-dir --no-deps --require-hashes -r /locks/run.lock && \
    pip install --no-cache-dir --no-deps /wheels/*.whl && pip check && rm -r /wheels /locks
RUN useradd --create-home auditor
USER auditor
WORKDIR /work
ENTRYPOINT ["auditkit"]
CMD ["--help"]
