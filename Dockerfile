# auditkit for CPUs, with the versions of requirements.lock:
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
COPY requirements.lock /tmp/requirements.lock
COPY --from=build /wheels /wheels
RUN sed -E "/--hash=/d; s/ ?\\\\$//" /tmp/requirements.lock > /tmp/constraints.txt && \
    echo torch==2.13.0 >> /tmp/constraints.txt && \
    pip install --no-cache-dir --constraint /tmp/constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu "$(ls /wheels/*.whl)[sign,pdf]" && rm -r /wheels /tmp/requirements.lock
RUN useradd --create-home auditor
USER auditor
WORKDIR /work
ENTRYPOINT ["auditkit"]
CMD ["--help"]
