#!/usr/bin/env bash
# Fetches the servers that the tests run against: Redis, PostgreSQL, and Kafka's jars from Maven Central into
# .servers/kafka; and Docker Compose, which reads deploy/compose.yaml.
#
# What is there already is left alone. What cannot be had is named; the tests that need it are then skipped, or fail
# where CI is set.
set -uo pipefail
cd "$(dirname "$0")/.."

absent() { # what, the tests without it, Debian/Ubuntu packages, Homebrew formulae
    {
        echo "asof: $1 was not found; tests on $2 will be skipped."
        if [ "$(uname)" = Darwin ]; then echo "  Install it with:  brew install $4"; else echo "  Install it with:  sudo apt-get install -y $3"; fi
        echo "  Then run tools/servers.sh again."
    } >&2
}

postgres() { command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }

packages=()
postgres || packages+=(postgresql)
command -v redis-server >/dev/null || command -v valkey-server >/dev/null || packages+=(redis-server)
command -v java >/dev/null && command -v keytool >/dev/null || packages+=(default-jre-headless)
[ -f .servers/kafka/.complete ] || command -v mvn >/dev/null || packages+=(maven)
command -v docker-compose >/dev/null || packages+=(docker-compose)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "asof: installing ${packages[*]} for the tests"
    {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
    } >/dev/null || true
fi

command -v redis-server >/dev/null || command -v valkey-server >/dev/null ||
    absent "redis-server" "Redis" "redis-server" "redis"
postgres || absent "postgres" "PostgreSQL" "postgresql" "postgresql"
command -v java >/dev/null && command -v keytool >/dev/null ||
    absent "Java 17 (java and keytool)" "Kafka" "default-jre-headless" "openjdk"

command -v docker-compose >/dev/null || absent "docker-compose" "deploy/compose.yaml" "docker-compose" "docker-compose"

stamp=.servers/kafka/.complete
if ! cmp -s tests/servers/pom.xml "$stamp" || ! compgen -G '.servers/kafka/kafka_*.jar' >/dev/null; then
    if ! command -v mvn >/dev/null; then
        absent "Maven (mvn)" "Kafka" "maven" "maven"
    else
        echo "asof: fetching Kafka's jars for the tests"
        rm -rf .servers/kafka
        mkdir -p .servers/kafka
        if mvn --batch-mode --quiet --file tests/servers/pom.xml \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
            -DoutputDirectory="$PWD/.servers/kafka" -DincludeScope=runtime; then
            cp tests/servers/pom.xml "$stamp"
        else
            rm -rf .servers/kafka
            echo "asof: Kafka's jars could not be fetched from Maven Central; its tests will be skipped." >&2
            echo "  Check the network or ~/.m2/settings.xml, then run tools/servers.sh again." >&2
        fi
    fi
fi
