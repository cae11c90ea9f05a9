# Three images: compiler (ipgeo-compile), fallback (gunicorn) and edge (nginx with Lua).
#
#     docker build --target edge -t ipgeo-edge .
#
# The edge on OpenResty's own image, which brings nginx and the Lua libraries itself:
#
#     docker build --target edge --build-arg EDGE_BASE=openresty/openresty:bookworm \
#         --build-arg EDGE_PACKAGES= --build-arg EDGE_NGINX=/usr/local/openresty/bin/openresty .

ARG BASE=debian:bookworm-slim
ARG EDGE_BASE=$BASE
# A fixed number: volumes belong to the same user in every image, and to no user of the host.
ARG OWNER=10001:10001

# --- Python, and what the two images made of it have in common ------------------------------------

FROM $BASE AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*.log /var/log/apt
ENV PYTHONPATH=/opt/ipgeo/lib PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    IPGEO_BLOB=/var/lib/ipgeo/ipgeo.blob

FROM python AS pip
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv ca-certificates \
    && python3 -m venv /opt/pip
# Programs that start in an environment without pip: it is not needed where they run.
RUN python3 -m venv --without-pip /opt/ipgeo
COPY docker/install-locked /usr/local/bin/

# --- compiler -------------------------------------------------------------------------------------

FROM pip AS compiler-build
COPY requirements-compiler.lock /tmp/
RUN install-locked /tmp/requirements-compiler.lock
COPY compiler/ipgeo /opt/ipgeo/lib/ipgeo
COPY data /tmp/data
# COPY keeps the modes of the checkout, which may have been made for its owner alone.
RUN chmod -R a+rX /opt/ipgeo/lib \
    && /opt/ipgeo/bin/python3 -m compileall -q /opt/ipgeo/lib \
    && mkdir /var/lib/ipgeo \
    && /opt/ipgeo/bin/python3 -m ipgeo build /tmp/data/sample.dat --codes /tmp/data

FROM python AS compiler
ARG OWNER
COPY --from=compiler-build /opt/ipgeo /opt/ipgeo
# An empty volume that is mounted here begins with the sample.
COPY --from=compiler-build --chown=$OWNER /var/lib/ipgeo /var/lib/ipgeo
USER $OWNER
ENTRYPOINT ["/opt/ipgeo/bin/python3", "-m", "ipgeo"]
CMD ["--help"]

# --- fallback -------------------------------------------------------------------------------------

FROM pip AS fallback-build
COPY requirements-fallback.lock /tmp/
RUN install-locked /tmp/requirements-fallback.lock
COPY compiler/ipgeo /opt/ipgeo/lib/ipgeo
COPY fallback /opt/ipgeo/lib
RUN chmod -R a+rX /opt/ipgeo/lib && /opt/ipgeo/bin/python3 -m compileall -q /opt/ipgeo/lib

FROM python AS fallback
ARG OWNER
# From its second start on, a container's tmpfs is root's and has the mode of the folder below it.
RUN mkdir -m 1777 /run/ipgeo
COPY docker/healthy /usr/local/bin/
RUN chmod a+rx /usr/local/bin/healthy
COPY --from=fallback-build /opt/ipgeo /opt/ipgeo
COPY --from=compiler-build --chown=$OWNER /var/lib/ipgeo /var/lib/ipgeo
ENV IPGEO_VAR=/run/ipgeo IPGEO_FALLBACK_ACCESS_LOG=- \
    IPGEO_FALLBACK_BIND=0.0.0.0:8000,unix:/run/ipgeo/fallback.sock
USER $OWNER
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["healthy", "8000"]
ENTRYPOINT ["/opt/ipgeo/bin/gunicorn", "-c", "/opt/ipgeo/lib/gunicorn.conf.py"]

# --- edge -----------------------------------------------------------------------------------------

FROM $EDGE_BASE AS edge
ARG OWNER
ARG EDGE_PACKAGES="nginx libnginx-mod-http-lua lua-resty-core lua-resty-lrucache lua-cjson luajit2"
ARG EDGE_NGINX=/usr/sbin/nginx
RUN [ -z "$EDGE_PACKAGES" ] || { apt-get update \
    && apt-get install -y --no-install-recommends $EDGE_PACKAGES \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*.log /var/log/apt; }
RUN mkdir -m 1777 /run/ipgeo
COPY docker/healthy docker/edge docker/check /usr/local/bin/
COPY nginx /opt/ipgeo/nginx
COPY lua /opt/ipgeo/lua
RUN chmod -R a+rX /opt/ipgeo /usr/local/bin
COPY --from=compiler-build --chown=$OWNER /var/lib/ipgeo /var/lib/ipgeo
ENV IPGEO_VAR=/run/ipgeo IPGEO_BLOB=/var/lib/ipgeo/ipgeo.blob IPGEO_NGINX=$EDGE_NGINX \
    IPGEO_BIND=0.0.0.0 IPGEO_PORT=8080
USER $OWNER
EXPOSE 8080
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s CMD ["healthy", "8080"]
ENTRYPOINT ["edge"]
