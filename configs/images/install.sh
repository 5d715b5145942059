#!/bin/sh
# Installs s4c-hpc into /opt/s4c of a Debian 12 image, and leaves nothing else there. The Containerfile and the Apptainer
# definition both run it, so that both images hold the same.
# usage: install.sh SOURCE      SOURCE holds what a clone holds, and may be removed afterwards
#   WHEELS  folder of wheels; if it has any, nothing is fetched from a registry (default /wheels)
#   EXTRAS  extras of the package (default serve,weather,postgis; MPI is the site's own business)
set -eu
source=$1
wheels=${WHEELS:-/wheels}
extras=${EXTRAS:-serve,weather,postgis}
builder=$(mktemp -d)
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
umask 022

apt-get update -qq
# expat is asked for by GDAL of rasterio's wheel; words in pictures of parcels need a font.
apt-get install -y -qq --no-install-recommends python3 libexpat1 fonts-dejavu-core
apt-get install -y -qq --no-install-recommends python3-venv

# pip and the build back-end stay out of what is kept.
python3 -m venv "$builder/venv"
python3 -m venv --without-pip /opt/s4c
install_with() { # PYTHON, then what to install at the versions of the lock
  python=$1
  shift
  if [ -n "$(find "$wheels" -maxdepth 1 -name '*.whl' 2>/dev/null)" ]; then
    set -- --no-index --find-links "$wheels" "$@"
  fi
  "$builder/venv/bin/python" -m pip --python "$python" install --quiet --only-binary :all: \
    --constraint "$source/requirements.lock" "$@"
}
install_with "$builder/venv/bin/python" hatchling
"$builder/venv/bin/python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$builder/wheel" "$source"
install_with /opt/s4c/bin/python "$(find "$builder/wheel" -name '*.whl')[$extras]"

# Machine code of the kernels, for the kind of processor that builds; others compile their own, once.
mkdir -p "$NUMBA_CACHE_DIR"
for package in extract features confounders practices; do
  /opt/s4c/bin/python -m "s4c_hpc.$package.warm"
done

rm -rf "$builder"
apt-get purge -y -qq --auto-remove python3-venv python3-pip-whl python3-setuptools-whl
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
