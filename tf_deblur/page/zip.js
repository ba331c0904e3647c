// Files in a ZIP file, stored as they are: PNGs do not become smaller.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

// files: a Map of name -> Blob.
export async function zip(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const [name, blob] of files) {
    const path = new TextEncoder().encode(name);
    const sum = checksum(new Uint8Array(await blob.arrayBuffer()));
    // version 2.0, names in UTF-8, stored, midnight of 1980's first day
    const about = [
      [20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2],
      [sum, 4], [blob.size, 4], [blob.size, 4], [path.length, 2], [0, 2],
    ];
    parts.push(pack([0x04034b50, 4], ...about), path, blob);
    directory.push(pack([0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), path);
    offset += 30 + path.length + blob.size;
    if (offset > 0xf0000000) throw new Error("they have more than 4 GB.");
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = [[0, 2], [0, 2], [files.size, 2], [files.size, 2], [size, 4], [offset, 4], [0, 2]];
  return new Blob([...parts, ...directory, pack([0x06054b50, 4], ...end)], { type: "application/zip" });
}

// CRC-32.
function checksum(bytes) {
  let sum = -1;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum;
}

// [value, bytes] each, the lowest byte first.
function pack(...fields) {
  return Uint8Array.from(
    fields.flatMap(([value, length]) => Array.from({ length }, (_, index) => (value >>> (8 * index)) & 255)),
  );
}
