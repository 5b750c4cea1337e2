/**
 * Lookup KIND NAME [KIND NAME]... with Java's InetAddress. For each name, prints one line per answer, or
 * `missing`, or `failed` and the reason; then `--`.
 */
import java.net.InetAddress;
import java.net.UnknownHostException;

public final class Lookup {
    public static void main(String[] words) {
        for (int at = 0; at + 1 < words.length; at += 2) {
            answer(words[at], words[at + 1]);
            System.out.println("--");
        }
    }

    private static void answer(String kind, String name) {
        try {
            if (kind.equals("reverse")) {
                String found = InetAddress.getByName(name).getCanonicalHostName();
                System.out.println(found.equals(name) ? "missing" : found);
                return;
            }
            for (InetAddress address : InetAddress.getAllByName(name)) {
                System.out.println(address.getHostAddress());
            }
        } catch (UnknownHostException error) {
            // "Temporary failure" means no answer; any other error means that the name does not exist.
            String why = String.valueOf(error.getMessage());
            System.out.println(why.contains("Temporary") ? "failed " + why : "missing");
        }
    }
}
