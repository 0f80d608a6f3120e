"""The pages where a team's admins look after connections and personas."""
