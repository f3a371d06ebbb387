package peers;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The work in the Processor API, tuned: one processor, no repartition topic, bytes in the stores. A source partition
 * keeps its own part of each count, and a reader has to add the parts up. The counters of a day and of its 24 hours
 * are one value, so that a segment costs one read and one write. Exactly once.
 */
final class Packed {
    private static final long HOUR_MS = 3_600_000;
    private static final int SLOT_BYTES = 3 * Integer.BYTES;
    /** The day's slot, then those of its hours. */
    private static final int VALUE_BYTES = 25 * SLOT_BYTES;

    static Topology topology(String input, String output) {
        return new Topology()
                .addSource("responses", Serdes.String().deserializer(), Json.responses().deserializer(), input)
                .addProcessor("nps", Nps::new, "responses")
                .addStateStore(store("newest"), "nps")
                .addStateStore(store("counts"), "nps")
                .addSink("events", output, Serdes.String().serializer(), Json.serde(Event.class).serializer(), "nps");
    }

    private static StoreBuilder<KeyValueStore<Bytes, byte[]>> store(String name) {
        return Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(name), Serdes.Bytes(), Serdes.ByteArray()).withCachingEnabled();
    }

    private static final class Nps extends ContextualProcessor<String, Response, String, Event> {
        private KeyValueStore<Bytes, byte[]> newest;
        private KeyValueStore<Bytes, byte[]> counts;

        @Override
        public void init(ProcessorContext<String, Event> context) {
            super.init(context);
            newest = context.getStateStore("newest");
            counts = context.getStateStore("counts");
        }

        @Override
        public void process(Record<String, Response> record) {
            FirstRecord.seen();
            Response response = record.value();
            if (response == null) {
                return;
            }
            detect(record.withValue(response));
            long hour = Math.floorDiv(response.respondedAtMs(), HOUR_MS);
            int category = response.category().ordinal();
            count(response.surveyId() + "|all", hour, category);
            for (Map.Entry<String, String> segment : response.segments().entrySet()) {
                count(response.surveyId() + "|" + segment.getKey() + "=" + segment.getValue(), hour, category);
            }
        }

        /** The value is the time, the score and the id of the newest response. */
        private void detect(Record<String, Response> record) {
            Response response = record.value();
            Bytes key = Bytes.wrap((response.customerId() + "|" + response.surveyId()).getBytes(UTF_8));
            byte[] before = newest.get(key);
            if (before != null && response.respondedAtMs() < ByteBuffer.wrap(before).getLong()) {
                return;
            }
            byte[] id = response.responseId().getBytes(UTF_8);
            newest.put(key, ByteBuffer.allocate(Long.BYTES + 1 + id.length)
                    .putLong(response.respondedAtMs()).put(response.score().byteValue()).put(id).array());
            Event event = Event.of(response, before == null ? null : (int) before[Long.BYTES]);
            if (event != null) {
                context().forward(record.withValue(event));
            }
        }

        private void count(String segment, long hour, int category) {
            byte[] text = segment.getBytes(UTF_8);
            Bytes key = Bytes.wrap(ByteBuffer.allocate(Integer.BYTES + text.length)
                    .putInt((int) Math.floorDiv(hour, 24)).put(text).array());
            byte[] before = counts.get(key);
            // A copy, as the store's cache still holds what it returned.
            byte[] added = before == null ? new byte[VALUE_BYTES] : before.clone();
            increment(added, 0, category);
            increment(added, 1 + (int) Math.floorMod(hour, 24), category);
            counts.put(key, added);
        }

        private static void increment(byte[] slots, int slot, int category) {
            int at = slot * SLOT_BYTES + category * Integer.BYTES;
            ByteBuffer buffer = ByteBuffer.wrap(slots);
            buffer.putInt(at, buffer.getInt(at) + 1);
        }
    }

    private Packed() {
    }
}
