# Airflow with this project, its Python packages, the connector's jars, and the Java that drivers run on.
FROM apache/airflow:slim-3.3.2-python3.11
USER root
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* && install -d -o airflow -g 0 /opt/tidemark
USER airflow
WORKDIR /opt/tidemark
COPY --chown=airflow:0 requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY --chown=airflow:0 . .
ENV PYTHONPATH=/opt/tidemark
RUN TIDEMARK_HOME=/tmp/build python -m include.local_stack jars && mv /tmp/build/jars jars && chmod -R g=u jars && rm -rf /tmp/build
ENV TIDEMARK_HOME=/opt/tidemark/var
