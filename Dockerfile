FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml requirements.lock README.md ./
COPY labelhub labelhub
COPY samples samples
COPY exports exports
COPY templates templates
COPY manage.py ./
RUN pip install --no-cache-dir -c requirements.lock -e '.[postgres,s3,parquet,celery]' \
    && useradd --create-home hub && mkdir /data && chown hub /data
USER hub
ENV DATA_DIR=/data LOG_JSON=true
VOLUME /data
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["python", "manage.py", "serve", "--migrate", "--host", "0.0.0.0"]
