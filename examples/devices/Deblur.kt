// Restores photographs of any size on Android: docs/on_device.md. Not run by this project.

import android.content.Context
import android.graphics.Bitmap
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

class Deblur(context: Context, name: String, threads: Int = 4) : AutoCloseable {
    private val facts = JSONObject(context.assets.open("$name.json").bufferedReader().readText())
    private val height = facts.getJSONArray("fixed_size").getInt(0)
    private val width = facts.getJSONArray("fixed_size").getInt(1)
    private val margin = facts.getInt("margin")
    private val given = bytes(3 * height * width)
    private val made = bytes(3 * height * width)
    private val interpreter: Interpreter

    init {
        require(facts.getString("signature") == "uint8") { "$name: takes no bytes" }
        val file = context.assets.open("$name.tflite").readBytes()
        val model = bytes(file.size).put(file)
        interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    }

    fun restore(photo: Bitmap): Bitmap {
        val blurred = fit(photo)
        val restored = Bitmap.createBitmap(blurred.width, blurred.height, Bitmap.Config.ARGB_8888)
        val tile = IntArray(width * height)
        for (rows in places(blurred.height, height)) for (columns in places(blurred.width, width)) {
            blurred.getPixels(tile, 0, width, columns.start, rows.start, width, height)
            given.rewind()
            for (pixel in tile) for (shift in intArrayOf(16, 8, 0)) given.put((pixel shr shift).toByte())
            given.rewind()
            made.rewind()
            interpreter.runSignature(mapOf("image" to given), mapOf("restored" to made), "uint8")
            made.rewind()
            fun next() = made.get().toInt() and 255
            for (i in tile.indices) tile[i] = (255 shl 24) or (next() shl 16) or (next() shl 8) or next()
            val (top, left) = rows.kept to columns.kept
            val first = (top - rows.start) * width + (left - columns.start)
            restored.setPixels(tile, first, width, left, top, columns.stop - left, rows.stop - top)
        }
        return Bitmap.createBitmap(restored, 0, 0, photo.width, photo.height)
    }

    /** A bitmap whose pixels can be read, no side of it shorter than a tile's. */
    private fun fit(photo: Bitmap): Bitmap {
        val hardware = photo.config == Bitmap.Config.HARDWARE
        val read = if (hardware) photo.copy(Bitmap.Config.ARGB_8888, false) else photo
        if (read.width >= width && read.height >= height) return read
        val from = IntArray(read.width * read.height)
        read.getPixels(from, 0, read.width, 0, 0, read.width, read.height)
        val (wide, tall) = maxOf(read.width, width) to maxOf(read.height, height)
        val to = IntArray(wide * tall) {
            from[mirror(it / wide, read.height) * read.width + mirror(it % wide, read.width)]
        }
        return Bitmap.createBitmap(to, wide, tall, Bitmap.Config.ARGB_8888)
    }

    /** Where a place lies in a side that goes to and fro: 0 1 2 1 0 1 2 … */
    private fun mirror(place: Int, length: Int): Int {
        val period = maxOf(2 * (length - 1), 1)
        return minOf(place % period, period - place % period)
    }

    override fun close() = interpreter.close()

    private class Place(val start: Int, val kept: Int, val stop: Int)

    /** Where tiles begin along a side, and what is kept of each: from `kept` to `stop`. */
    private fun places(length: Int, tile: Int): List<Place> {
        require(length == tile || tile > 2 * margin) { "$length pixels, tiles of $tile" }
        val found = mutableListOf<Place>()
        var kept = 0
        while (kept < length) {
            val start = (kept - margin).coerceIn(0, length - tile)
            val stop = if (start + tile == length) length else start + tile - margin
            found += Place(start, kept, stop)
            kept = stop
        }
        return found
    }

    private fun bytes(size: Int) = ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
}
