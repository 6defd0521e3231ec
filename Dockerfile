# syntax=docker/dockerfile:1
# docs/operate/docker.md explains the image. A test runs these steps in an empty folder without a Docker engine, so each
# RUN uses relative paths only, and the last stage has none.

FROM node:26-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
# No script of a package: the server has no native module, and the tools of development are not run here.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY gen gen
RUN npm run build && npm prune --omit=dev --ignore-scripts && mkdir data && chmod 700 data

FROM node:26-bookworm-slim
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Claviger" \
      org.opencontainers.image.description="API keys for agents and developers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV NODE_ENV=production \
    CLAVIGER_LISTEN=0.0.0.0:4640 \
    CLAVIGER_DATA_DIR=/var/lib/claviger
WORKDIR /opt/claviger
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/dist dist
COPY --from=build /src/gen gen
COPY bin bin
COPY migrations migrations
COPY proto proto
COPY LICENSE ./
# The folder of the embedded database. A volume that is mounted here for the first time takes its owner and mode.
COPY --from=build --chown=1000:1000 /src/data /var/lib/claviger
# By number, so that Kubernetes sees that it is not root.
USER 1000:1000
EXPOSE 4640
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["node", "/opt/claviger/bin/claviger.js", "health", "--service", "claviger.v1.KeyVerifier"]
ENTRYPOINT ["node", "/opt/claviger/bin/claviger.js"]
CMD ["serve"]
