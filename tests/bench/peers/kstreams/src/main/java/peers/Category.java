package peers;

/** What a score makes of a customer. The ordinal is the place of its counter in whatever holds the three. */
enum Category {
    PROMOTER, PASSIVE, DETRACTOR;

    static Category of(int score) {
        return score >= 9 ? PROMOTER : score >= 7 ? PASSIVE : DETRACTOR;
    }
}
