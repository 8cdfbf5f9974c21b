"""What a GGUF file holds that our tests ask about, as JSON: ``read_gguf.py ‹llama.cpp's gguf-py folder› ‹file›``."""

import importlib
import json
import sys

sys.path.insert(0, sys.argv[1])
reader = importlib.import_module("gguf").GGUFReader(sys.argv[2])
fields = {name: field.contents() for name, field in reader.fields.items()}
print(json.dumps(fields | {"shapes": {tensor.name: [int(size) for size in tensor.shape] for tensor in reader.tensors}}))
