package peers;

/** Says once, on standard output, that the first record is here: start-up is over, the harness reads the CPU clock. */
final class FirstRecord {
    private static boolean said;

    static void seen() {
        if (!said) {
            said = true;
            System.out.println("first record");
        }
    }

    private FirstRecord() {
    }
}
