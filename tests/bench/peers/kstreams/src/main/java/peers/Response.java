package peers;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.DateTimeException;
import java.time.OffsetDateTime;
import java.util.Map;

/** An answer to a survey, as its publisher wrote it. */
record Response(
        @JsonProperty("response_id") String responseId,
        @JsonProperty("customer_id") String customerId,
        @JsonProperty("survey_id") String surveyId,
        @JsonProperty("score") Integer score,
        @JsonProperty("responded_at") String respondedAt,
        @JsonProperty("segments") Map<String, String> segments,
        @JsonProperty("comment") String comment,
        @JsonProperty("language") String language,
        @JsonIgnore long respondedAtMs) {

    /** The same with its time read, or null when a required field is missing or makes no sense. */
    Response checked() {
        if (responseId == null || customerId == null || surveyId == null || respondedAt == null
                || score == null || score < 0 || score > 10) {
            return null;
        }
        try {
            long atMs = OffsetDateTime.parse(respondedAt).toInstant().toEpochMilli();
            return new Response(responseId, customerId, surveyId, score, respondedAt,
                    segments == null ? Map.of() : segments, comment, language, atMs);
        } catch (DateTimeException e) {
            return null;
        }
    }

    Category category() {
        return Category.of(score);
    }
}
