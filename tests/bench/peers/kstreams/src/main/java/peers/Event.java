package peers;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;

/** What is published when a customer's category changes in a way that somebody waits for. */
record Event(
        @JsonProperty("type") String type,
        @JsonProperty("response_id") String responseId,
        @JsonProperty("customer_id") String customerId,
        @JsonProperty("survey_id") String surveyId,
        @JsonProperty("score") int score,
        @JsonProperty("previous_score") Integer previousScore,
        @JsonProperty("responded_at") String respondedAt,
        @JsonProperty("segments") Map<String, String> segments,
        @JsonProperty("comment") String comment,
        @JsonProperty("language") String language) {

    /** The event of a newest response, given the score of the one that was newest before (null: none), or null. */
    static Event of(Response newest, Integer previousScore) {
        Category previous = previousScore == null ? null : Category.of(previousScore);
        Category current = newest.category();
        String type;
        if (current == Category.PASSIVE && previous != Category.PASSIVE) {
            type = "passive-detected";
        } else if (current == Category.PROMOTER && previous == Category.PASSIVE) {
            type = "score-changed";
        } else {
            return null;
        }
        return new Event(type, newest.responseId(), newest.customerId(), newest.surveyId(), newest.score(),
                previousScore, newest.respondedAt(), newest.segments(), newest.comment(), newest.language());
    }
}
