package peers;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The work in the DSL: a stateful processor for the events; the segments repartitioned and counted in tumbling windows.
 * Exactly once, over both halves. A response later than the grace period would not be counted.
 */
final class Dsl {
    /** Longer than the workload's latest response is late. */
    private static final Duration GRACE = Duration.ofDays(100);
    private static final Serde<Byte> CATEGORY =
            Serdes.serdeFrom((topic, ordinal) -> new byte[] {ordinal}, (topic, bytes) -> bytes[0]);
    private static final Serde<long[]> COUNTS = Serdes.serdeFrom(
            (topic, counts) -> counts == null ? null
                    : ByteBuffer.allocate(24).putLong(counts[0]).putLong(counts[1]).putLong(counts[2]).array(),
            (topic, bytes) -> {
                if (bytes == null) {
                    return null;
                }
                ByteBuffer buffer = ByteBuffer.wrap(bytes);
                return new long[] {buffer.getLong(), buffer.getLong(), buffer.getLong()};
            });

    static Topology topology(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("newest"), Serdes.String(), Json.serde(Newest.class)).withCachingEnabled());

        KStream<String, Response> responses = builder
                .stream(input, Consumed.with(Serdes.String(), Json.responses())
                        // Windows are of the answer's own time; a record that is none has no time and goes no further.
                        .withTimestampExtractor((record, partitionTimeMs) -> record.value() instanceof Response response
                                ? response.respondedAtMs() : Math.max(0, partitionTimeMs)))
                .peek((key, response) -> FirstRecord.seen())
                .filter((key, response) -> response != null);

        responses.process(Changes::new, "newest")
                .to(output, Produced.with(Serdes.String(), Json.serde(Event.class)));

        KGroupedStream<String, Byte> bySegment = responses
                .flatMap((key, response) -> segments(response))
                .repartition(Repartitioned.with(Serdes.String(), CATEGORY).withName("segments"))
                .groupByKey(Grouped.with(Serdes.String(), CATEGORY));
        count(bySegment, "hour", Duration.ofHours(1));
        count(bySegment, "day", Duration.ofDays(1));
        return builder.build();
    }

    private static List<KeyValue<String, Byte>> segments(Response response) {
        byte category = (byte) response.category().ordinal();
        List<KeyValue<String, Byte>> segments = new ArrayList<>(1 + response.segments().size());
        segments.add(KeyValue.pair(response.surveyId() + "|all", category));
        response.segments().forEach((name, value) ->
                segments.add(KeyValue.pair(response.surveyId() + "|" + name + "=" + value, category)));
        return segments;
    }

    private static void count(KGroupedStream<String, Byte> bySegment, String name, Duration window) {
        bySegment.windowedBy(TimeWindows.ofSizeAndGrace(window, GRACE)).aggregate(
                () -> new long[3],
                (segment, category, counts) -> {
                    long[] added = counts.clone();
                    added[category]++;
                    return added;
                },
                Materialized.<String, long[], WindowStore<Bytes, byte[]>>as(name)
                        .withKeySerde(Serdes.String())
                        .withValueSerde(COUNTS)
                        .withRetention(GRACE.plusDays(2)));
    }

    /** Keeps the newest response of each customer to each survey and forwards what its change makes of it. */
    private static final class Changes extends ContextualProcessor<String, Response, String, Event> {
        private KeyValueStore<String, Newest> store;

        @Override
        public void init(ProcessorContext<String, Event> context) {
            super.init(context);
            store = context.getStateStore("newest");
        }

        @Override
        public void process(Record<String, Response> record) {
            Response response = record.value();
            String key = response.customerId() + "|" + response.surveyId();
            Newest before = store.get(key);
            if (before != null && response.respondedAtMs() < before.respondedAtMs()) {
                return;
            }
            store.put(key, new Newest(response.responseId(), response.score(), response.respondedAtMs()));
            Event event = Event.of(response, before == null ? null : before.score());
            if (event != null) {
                context().forward(record.withValue(event));
            }
        }
    }

    private Dsl() {
    }
}
