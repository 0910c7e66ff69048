FROM python:3.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.8
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 VIRTUAL_ENV=/opt/chorus
WORKDIR /src
COPY pyproject.toml requirements.lock ./
RUN uv venv /opt/chorus && uv pip install --requirements pyproject.toml --extra otel --extra integration --constraints requirements.lock
COPY . .
RUN uv pip install --no-deps .

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 chorus \
 && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/chorus chorus \
 && install --directory --owner=chorus --group=chorus --mode=0700 /var/lib/chorus
COPY --from=build /opt/chorus /opt/chorus
ENV PATH=/opt/chorus/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 CHORUS_DATA_DIR=/var/lib/chorus
USER 10001:10001
WORKDIR /var/lib/chorus
VOLUME /var/lib/chorus
# A worker writes its health file every second, and drains on SIGTERM by itself: no init process is needed. Docker only
# shows that a container is unhealthy; a worker whose loop stands still ends by itself, and `restart:` starts it again.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --start-interval=2s --retries=2 CMD ["chorus", "health", "--here"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["chorus"]
CMD ["--help"]
