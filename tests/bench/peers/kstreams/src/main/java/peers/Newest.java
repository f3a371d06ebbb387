package peers;

import com.fasterxml.jackson.annotation.JsonProperty;

/** What is kept of the newest response of a customer to a survey. */
record Newest(
        @JsonProperty("response_id") String responseId,
        @JsonProperty("score") int score,
        @JsonProperty("responded_at_ms") long respondedAtMs) {
}
